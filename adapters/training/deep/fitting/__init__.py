"""What a fit is made of: the network, its batches, its rates and its losses."""
