"""Tests of the web page: its logic alone, and the page as a real server."""
