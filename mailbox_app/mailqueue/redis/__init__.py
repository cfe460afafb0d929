"""The queue in Redis, which several nodes share: every change is one Lua script (`scripts`, `operator_scripts`)."""
