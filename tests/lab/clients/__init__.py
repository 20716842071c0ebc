"""Clients of the HTTP API in every language, made by generators, and two of them at work."""
