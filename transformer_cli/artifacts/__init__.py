"""Models on disk: run directories and bundles, and how they become translators."""
