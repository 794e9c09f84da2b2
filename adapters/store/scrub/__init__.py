"""Scrubbing: what is stored is looked at whole, before anybody asks for it; what can be mended without loss is mended.

`sqlite` looks at database files, `rows` at what they say, `stored` at blobs. Each yields findings.
`garbage` looks for what a sweep would remove.
"""

from adapters.store.scrub.findings import Finding

__all__ = ["Finding"]
