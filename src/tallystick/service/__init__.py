"""The core HTTP service: the Core Driver Interface (spec/cdi.md), for SDKs in any language."""
