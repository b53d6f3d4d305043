"""Search algorithms: token ids in, hypotheses out."""
