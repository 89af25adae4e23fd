"""How tokens travel: what a request brings, what its response must carry (spec/fdi.md 1 and 2).

Values in, values out. Nothing here knows a framework or waits for anything; an adapter hands in a :class:`Request` and
applies the :class:`Changes` that come out.
"""
