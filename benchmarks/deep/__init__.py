"""What deep versions bring, and what they take: by data set, against plain loops in torch, and on a server."""
