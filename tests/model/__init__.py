"""A second, slow, obvious implementation of the GICv3 physical interrupt path, and the means to compare the two."""
