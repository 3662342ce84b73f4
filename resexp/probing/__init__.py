"""Looking into networks no one here wrote: residual additions, what passes through them forward and backward."""
