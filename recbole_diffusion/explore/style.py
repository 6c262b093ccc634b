"""What does the page look like? One column on a telephone, two or three on a screen."""

CSS = """
:root { --ink: #1c2733; --quiet: #5b6875; --line: #dde3ea; --blue: #0072B2; --red: #B84A00;
  --Dash-Fill-Interactive-Strong: var(--blue); --Dash-Fill-Interactive-Weak: #cfe3f1; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #f4f6f8;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1440px; margin: 0 auto; padding: 16px; display: grid; gap: 16px;
  grid-template-columns: minmax(0, 1fr); align-items: start; }
header { max-width: 1440px; margin: 0 auto; padding: 16px 16px 0; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 18px; margin: 0 0 4px; }
h3 { font-size: 15px; margin: 20px 0 4px; } p { margin: 0 0 8px; overflow-wrap: anywhere; }
section { background: white; border: 1px solid var(--line); border-radius: 8px; padding: 16px;
  min-width: 0; }
.panels { display: grid; gap: 16px; grid-template-columns: minmax(0, 1fr); min-width: 0; }
@media (min-width: 800px) {
  main { grid-template-columns: 320px minmax(0, 1fr); }
  .ask { position: sticky; top: 16px; max-height: calc(100vh - 32px); overflow-y: auto; }
}
@media (min-width: 1100px) {
  .panels.one .mapped { display: grid; column-gap: 24px;
    grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .panels.one .mapped h3 { margin-top: 0; }
  .panels.two { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
.quiet { color: var(--quiet); font-size: 13px; }
.id { margin-left: 6px; white-space: nowrap; }
.grow { flex: 1 1 auto; min-width: 0; overflow-wrap: anywhere; text-align: left; }
fieldset { border: 0; padding: 0; margin: 12px 0 0; min-width: 0; }
legend, .field { font-weight: 600; padding: 0; display: block; margin: 12px 0 4px; }
.choice { display: flex; flex-wrap: wrap; gap: 4px 14px; }
.choice label { display: inline-flex; align-items: center; gap: 4px; margin: 0; min-height: 28px; }
.button, .match { font: inherit; color: var(--ink); background: white; cursor: pointer;
  border: 1px solid #b8c2cc; border-radius: 6px; padding: 4px 10px; min-height: 32px; }
.button:hover, .match:hover { background: #eef4f9; border-color: var(--blue); }
.button:focus-visible, .match:focus-visible, input:focus-visible {
  outline: 2px solid var(--blue); outline-offset: 1px; }
.sign { padding: 0; width: 32px; flex: none; } .behavior { flex: none; font-size: 13px; }
.match { display: flex; gap: 8px; width: 100%; margin-top: 4px; align-items: baseline; }
.match span:last-child { color: var(--blue); flex: none; }
.row { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
ol { list-style: none; margin: 0; padding: 0; }
li { display: flex; gap: 6px; align-items: center; border-bottom: 1px solid var(--line);
  padding: 3px 0; min-height: 38px; }
.item { display: flex; flex-wrap: wrap; gap: 0 8px; align-items: center; }
.title { flex: 1 1 150px; }
.list { font-variant-numeric: tabular-nums; }
.head { display: flex; gap: 6px; color: var(--quiet); font-size: 13px;
  border-bottom: 1px solid var(--line); }
.rank { flex: none; width: 34px; color: var(--quiet); }
.score { flex: none; min-width: 68px; text-align: right; } .head .adding { margin-right: 38px; }
.mark { flex: none; font-size: 13px; white-space: nowrap; } .mark.same { color: var(--quiet); }
.mark.new { color: white; background: var(--red); border-radius: 4px; padding: 0 6px; }
.mark.up { color: var(--blue); } .mark.down { color: var(--red); }
.left { margin-top: 8px; font-size: 13px; }
.words { color: var(--red); } .state { margin-top: 8px; }
.controls { border: 1px solid var(--line); border-radius: 8px; padding: 4px 12px 12px;
  background: #fafbfc; }
.control { display: block; margin-top: 8px; }
.labels { display: flex; justify-content: space-between; gap: 8px; font-weight: 600; }
.labels { flex-wrap: wrap; } .labels output { font-weight: 400; }
.dash-input-container, .text { width: 100%; }
.text input, input.text { font: inherit; width: 100%; padding: 6px 10px; }
.control .dash-slider-container { padding: 4px 6px; }
[data-dash-is-loading="true"] { opacity: 0.5; }
.overlap { grid-column: 1 / -1; margin: 0; }
"""

PAGE = (
    """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}<style>"""
    + CSS
    + """</style></head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""
)
