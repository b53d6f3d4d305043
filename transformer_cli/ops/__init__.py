"""Operations on batches of sentences: the only floor that knows padded from packed."""
