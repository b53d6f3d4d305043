"""A synchronous English-German grammar that generates the sample corpus in `data/sample`.

Both sides of a pair are linearized from one abstract clause. Nothing is sampled after the clause
is complete, and every English form has exactly one German rendering. The target is therefore a
function of the source, and a small model can learn it.

Rules that keep this function single-valued:

- `you` is `du`.
- An English past or present perfect is a German perfect; sein, haben, wissen, the modals and the
  passive auxiliary take the preterite.
- Adverbials of time precede those of manner, and these precede those of place.
- An indefinite object follows the place.
- A relative clause on an object follows the verb cluster.

The modules, each one only importing from those above it:

- `pair`: the type of a sentence pair
- `morphology`: inflection of both languages, function words, numerals
- `lexicon`: the words (data files) and their readers
- `syntax`: noun phrases and clauses, and their linearization
- `sampling`: random noun phrases and clauses
- `kinds`: the kinds of sentences, one function for each
- `build`: the splits
"""
