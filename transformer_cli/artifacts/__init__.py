"""Models on disk: run directories and bundles, and loading them for translation."""
