"""The HTTP server: LibreTranslate's API, requests that arrive together searched together, and the web page."""
