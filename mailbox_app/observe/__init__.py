"""What the server tells about itself: a structured log, the mail log's six verbs, metrics.

`log` configures structlog once per process; `mail_log` is the operator's vocabulary; `metrics` holds the Prometheus
metrics and shares them between the processes. Nothing here may slow down or stop the mail: writers never raise.
"""
