"""The objects that users write, as frozen types.

Nouns: ``ApiStruct`` and ``ApiObject`` (what every kind is made of), ``Kind`` (a kind and how Kubernetes names it), ``Parsed``
(an object and what was wrong with its text), ``ObjectSet`` (all objects of all clusters at one moment), the CRDs made from the
types. Pure: no IO, no clock, no logging.

Layout: ``struct`` the bases · ``metadata`` ``common`` ``status`` shared types · ``security`` ``routetable`` ``virtualgateway``
``virtualdestination`` ``external`` ``admin`` our kinds · ``core`` what is read of Kubernetes' own kinds · ``kind`` ``kinds`` the
registry · ``yamltext`` ``repair`` ``manifest`` text → objects · ``fieldpath`` names of fields · ``openapi`` ``crd`` types → schemas
· ``objectset`` the input of translation.
"""
