"""Protection of URLs, e-mail addresses, numbers, placeholders and tags, which must come out as they went in."""
