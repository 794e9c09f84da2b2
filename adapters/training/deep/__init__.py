"""The deep round: the last part of a backbone, trained with its head. A library: no jobs, no HTTP, no database."""
