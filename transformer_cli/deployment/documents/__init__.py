"""Documents whose structure survives translation: subtitles, PO catalogues, HTML, Word, XLIFF."""
