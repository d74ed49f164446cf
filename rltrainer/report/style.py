"""How a report looks: the labeler page's colours, light and dark, and nothing from elsewhere."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f3f4f7; --surface: #fff; --sunk: #eceef3; --line: #dadee6; --ink: #14171d; --muted: #565e6c;
  --c0: #1f5fd0; --c1: #b54a05; --c2: #1a7a45; --c3: #7d3bb3; --c4: #856200; --c5: #b8246a;
  --shade: 0 1px 2px rgb(20 30 50 / .06), 0 8px 28px rgb(20 30 50 / .07);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1216; --surface: #191d24; --sunk: #232832; --line: #323945; --ink: #eef0f4; --muted: #a0a9b8;
    --c0: #7eaeff; --c1: #ffa368; --c2: #5ccf8f; --c3: #cb9bff; --c4: #e3c158; --c5: #ff8dbb;
    --shade: 0 1px 2px rgb(0 0 0 / .4);
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.sheet { max-width: 1120px; margin: 0 auto; padding: 2rem 1.25rem 4rem; display: grid; gap: 1.25rem; }
h1, h2, p, dl, dd, figure, ul { margin: 0; padding: 0; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -.015em; }
h2 { font-size: 1.0625rem; line-height: 1.3; }
header { display: grid; gap: .35rem; padding-bottom: .5rem; }
.brand { display: flex; align-items: center; gap: .5rem; color: var(--muted); font-weight: 600; }
.muted, .note { color: var(--muted); }
.note { font-size: .875rem; max-width: 44rem; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 16px; box-shadow: var(--shade);
  padding: 1.125rem 1.25rem; display: grid; gap: .75rem; align-content: start; min-width: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1rem; }
.tiles div { background: var(--surface); border: 1px solid var(--line); border-radius: 16px; box-shadow: var(--shade);
  padding: .9rem 1.1rem; display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.tiles dt { color: var(--muted); font-size: .875rem; }
.tiles dd { font-size: 1.625rem; font-weight: 650; letter-spacing: -.02em; line-height: 1.25; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 1.25rem; }
.plot svg { display: block; width: 100%; max-width: 640px; height: auto; overflow: visible; }
.plot svg text { font-family: inherit !important; }
.empty { color: var(--muted); border: 1px dashed var(--line); border-radius: 12px; padding: 2rem 1rem; text-align: center; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { padding: .5rem .75rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: baseline; }
td, thead th { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--muted); font-weight: 500; font-size: .875rem; vertical-align: bottom; }
tbody th { font-weight: 600; min-width: 6.5rem; max-width: 18rem; }
tbody tr:last-child > * { border-bottom: 0; }
td small { color: var(--muted); white-space: nowrap; }
.matrix td { text-align: center; min-width: 6rem; border: 2px solid var(--surface); background: var(--sunk); }
.matrix td.self { background: none; color: var(--muted); }
.matrix thead th { text-align: center; white-space: normal; min-width: 6rem; }
.matrix th { border: 0; }
.matrix b, .matrix small { display: block; color: var(--ink); }
.matrix th, .matrix td { vertical-align: middle; }
.chips { display: flex; flex-wrap: wrap; gap: .35rem 1.1rem; list-style: none; font-size: .875rem; color: var(--muted); }
.chips i { display: inline-block; width: .75rem; height: .75rem; border-radius: 4px; margin-right: .45rem; }
.bars { display: grid; grid-template-columns: minmax(5rem, 28%) 1fr; gap: .6rem 1rem; align-items: center; }
.bars b { font-weight: 600; max-width: 14rem; }
.bar { display: flex; height: 2rem; border-radius: 8px; overflow: hidden; gap: 2px; }
.bar span { display: grid; place-items: center; font-size: .8125rem; font-weight: 600; min-width: 3px; overflow: hidden; }
.much { background: var(--c0); color: var(--surface); }
.prefer, .slightly { background: color-mix(in srgb, var(--c0) 30%, var(--surface)); }
.equal { background: color-mix(in srgb, var(--c1) 38%, var(--surface)); }
.both_bad { background: color-mix(in srgb, var(--c5) 38%, var(--surface)); }
.skip { background: var(--sunk); box-shadow: inset 0 0 0 1px var(--line); }
.settings th { min-width: 6.5rem; }
.settings td { min-width: 4.5rem; }
.settings th, .settings td { text-align: left; white-space: normal; padding: .35rem .75rem; }
.settings th { font-weight: 500; padding-left: 0; }
.settings .default, .settings .default th { color: var(--muted); font-weight: 400; }
code, .settings td { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .875rem; }
summary { cursor: pointer; font-weight: 600; min-height: 44px; display: flex; align-items: center; gap: .6rem;
  list-style: none; }
summary::-webkit-details-marker { display: none; }
summary::before { content: ""; width: .5rem; height: .5rem; border: solid var(--muted); border-width: 0 2px 2px 0;
  rotate: -45deg; }
details[open] > summary::before { rotate: 45deg; }
summary:focus-visible, .scroll:focus-visible { outline: 3px solid var(--c0); outline-offset: 2px; border-radius: 8px; }
@media (max-width: 620px) {
  .sheet { padding: 1.25rem .75rem 3rem; }
  .bars { grid-template-columns: 1fr; gap: .25rem; }
  .bars .bar { margin-bottom: .6rem; }
  .plot svg text { font-size: 13px !important; }
}
@media print { body { background: #fff; } .card, .tiles div { box-shadow: none; break-inside: avoid; } }
"""
