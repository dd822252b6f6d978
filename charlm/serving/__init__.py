"""Serving models over HTTP: OpenAI's API, one batch for all requests, a page to play with."""
