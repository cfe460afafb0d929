"""Metrics and health over HTTP on listen.metrics: /metrics, /health, /health/detailed, /ready. Served by the core.

`server` speaks as much HTTP as a scraper needs, `health` looks at the parts and tells how each is.
"""
