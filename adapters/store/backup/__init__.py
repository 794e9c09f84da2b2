"""Copies of a whole installation: its rows as they were at one moment, and every blob that they refer to.

A backup is a folder with the rows in a SQLite file, whatever database they came from, blobs beside it, and a manifest.
So restoring, and moving an installation to other stores, is the same copy the other way round (docs/adr/0025).

`tables` copies rows, `snapshot` takes those of one moment, `transfer` copies blobs, `archive` writes and reads backups,
`target` fills an installation.
"""
