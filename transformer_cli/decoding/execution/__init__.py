"""How searches are run: merged batches, workers, CUDA graphs, shortlists, int8 argmax."""
