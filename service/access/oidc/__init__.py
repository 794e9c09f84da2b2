"""Bearer tokens of an OpenID Connect issuer: proven (`tokens`) by its keys (`issuer`), read by rules (`claims`)."""
