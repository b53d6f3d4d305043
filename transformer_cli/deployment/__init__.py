"""Models for other programs: exports, each checked against our own translations."""
