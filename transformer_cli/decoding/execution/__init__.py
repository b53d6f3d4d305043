"""How searches are run: merged batches, workers, static shapes and CUDA graphs, shortlists, int8 argmax."""
