"""Report of a test: a page with metrics, learning curves, and the worst cases."""
