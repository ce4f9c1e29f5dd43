"""The images that the tests start, under their official names; `python -m integration_tests.images` sees to them."""

NATS = "nats:2.15-alpine"
POSTGRES = "postgres:15"
PYTHON = "python:3.11-slim-bookworm"
