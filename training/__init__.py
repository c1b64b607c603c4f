"""Recipes that train real models while cpdcomm sums their gradients.

`mpirun -n 4 python -m training.train --help`, from the root of the repository, says what they do.

To read them begin with `gradient_sums` (where cpdcomm is called) and `trainer` (one training run);
`train` runs and writes the comparison, `configurations` are what is compared.
"""
