"""Operations on batches of sentences: the only package that distinguishes padded from packed tensors."""
