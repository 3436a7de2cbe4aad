"""The client side of the Kubernetes API, the same for every API server, embedded or real.

Nouns: `KubeClient` (one API server, raw objects), `Informer` (list and watch of one kind), `ObjectStore` (what all
clusters hold, as one immutable ObjectSet), `StatusWriter` and `EventRecorder` (what goes back). All of it does IO,
except `apply`, `backoff` and `watch`, which are plain functions and values.
"""
