"""The embedded Kubernetes-compatible API server of one cluster. Does IO: SQLite, TLS, the clock.

A request passes ``auth`` (401), ``application`` (which part answers, failures as Status), then ``documents`` (discovery, OpenAPI) or
``rest`` with ``target`` (what the URL names), ``options``, ``body`` and ``representation``; ``reader``, ``writer`` and ``watch`` work on
``storage``, the objects and their log of revisions; ``collector`` finishes deletions behind them. What the server knows of a
kind is a ``Resource``, built in (``builtin``) or from a CustomResourceDefinition (``crd``, ``definitions``); the rules for objects
(``validation``, ``defaulting``, ``pruning``, ``unknownfields``) are pure functions of it, as are ``table`` and ``openapi``.
What is asked of a Pod itself goes to ``pods``: ``podexec`` speaks by ``channel`` with a client, ``podlog`` shows a log, and a
``podruntime``, which is not part of this package, runs Pods.
"""
