"""The comparison as one HTML file: what the report says, drawn, and every pair to be read.

    packed.py      rows of `comparison/rows.py`, packed: numbers as columns, texts apart
    charts.py      points with intervals as SVG, each with its table
    sections.py    the report's sentences, tables and charts
    filters.py     what the disagreement browser asks: selects and fields
    page.py        all of it in one document
    words.js       which words of two answers have no counterpart in the other
    pairs.js       the pairs as columns: who is against whom, what is filtered, in which order
    reading.js     one pair in full
    browser.js     the list, the address, the keys

docs/compare-page.md says what a reader sees.
"""
