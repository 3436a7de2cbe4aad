"""Sample programs for workloads. Each is started as a process of its own and listens on 127.0.0.1:$PORT.

Bookinfo is four of them: ``productpage`` asks ``details`` and ``reviews``, and ``reviews`` asks ``ratings``, each through
the sidecar that ``http_proxy`` names. Paths and shapes of their answers are those of the sample of that name which
comes with Istio; the programs and their words are our own.
"""
