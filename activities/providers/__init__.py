"""The adapters: one package a vendor's API, and beside them what several share.

In each package, `adapter` is what the registry makes, `request` the body that is sent, `conversation` the items in it,
`stream` the answer as deltas, `errors` the vendor's refusals in our error tree; what is left is named for its part.
"""
