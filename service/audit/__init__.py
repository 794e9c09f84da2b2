"""Who changes what, from where: requests are followed, and what is no change of the store's is recorded, too."""
