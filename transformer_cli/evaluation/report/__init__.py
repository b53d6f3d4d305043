"""The report of one or two runs: one HTML file that opens without a network."""
