// @ts-check
/** The little of Markdown that instructions need: headings, paragraphs, lists, strong, emphasis, code. All else is text. */

/**
 * @typedef {"h3" | "p" | "ul" | "ol" | "li" | "strong" | "em" | "code"} Tag
 * @typedef {string | {tag: Tag, children: Node[]}} Node
 */

const HEADING = /^#{1,6}\s+(.*)$/;
const ITEM = /^\s{0,3}(?:([-*+])|\d{1,9}[.)])\s+(.*)$/;
const SPAN = /\*\*(?=\S)(.+?)(?<=\S)\*\*(?!\*)|\*(?=\S)(.+?)(?<=\S)\*|\b_(?=\S)(.+?)(?<=\S)_\b|`([^`]+)`/;

/**
 * The first paragraph is the question over the clips; what follows a blank line instructs.
 * @param {string} task
 * @returns {{question: string, instructions: string}}
 */
export function partsOf(task) {
  const [question, ...rest] = task.trim().split(/\n[ \t\r]*\n/);
  return { question: question.replace(/\s+/g, " "), instructions: rest.join("\n\n").trim() };
}

/** @param {string} text @returns {Node[]} blocks */
export function parse(text) {
  /** @type {{tag: Tag, children: Node[]}[]} */ const blocks = [];
  /** @type {"p" | "ul" | "ol" | null} what the next line may go on with */ let open = null;
  for (const line of text.split(/\r?\n/)) {
    const heading = HEADING.exec(line);
    const item = ITEM.exec(line);
    const last = blocks.at(-1);
    if (!line.trim()) open = null;
    else if (heading) {
      blocks.push({ tag: "h3", children: spans(heading[1]) }); // under an h2, whatever its level
      open = null;
    } else if (item) {
      const tag = item[1] ? "ul" : "ol";
      const one = { tag: /** @type {Tag} */ ("li"), children: spans(item[2]) };
      if (last?.tag === tag) last.children.push(one);
      else blocks.push({ tag, children: [one] });
      open = tag;
    } else if (open && last) {
      const block = open === "p" ? last : /** @type {{children: Node[]}} */ (last.children.at(-1));
      block.children.push(" ", ...spans(line.trim()));
    } else {
      blocks.push({ tag: "p", children: spans(line.trim()) });
      open = "p";
    }
  }
  return blocks;
}

/** @param {string} text @returns {Node[]} */
function spans(text) {
  /** @type {Node[]} */ const nodes = [];
  let rest = text;
  for (let found = SPAN.exec(rest); found; found = SPAN.exec(rest)) {
    const [whole, strong, star, line, code] = found;
    if (found.index) nodes.push(rest.slice(0, found.index));
    if (code !== undefined) nodes.push({ tag: "code", children: [code] });
    else nodes.push({ tag: strong === undefined ? "em" : "strong", children: spans(strong ?? star ?? line) });
    rest = rest.slice(found.index + whole.length);
  }
  return rest ? [...nodes, rest] : nodes;
}

/** Nodes of the document; text goes in as text. @param {Node[]} nodes @returns {(string | HTMLElement)[]} */
export function build(nodes) {
  return nodes.map((node) => {
    if (typeof node === "string") return node;
    const element = document.createElement(node.tag);
    element.append(...build(node.children));
    return element;
  });
}

/** @type {WeakMap<Element, string>} what an element shows already */
const shown = new WeakMap();

/** @param {Element} element @param {string} text */
export function writeMarkdown(element, text) {
  if (shown.get(element) === text) return;
  shown.set(element, text);
  element.replaceChildren(...build(parse(text)));
}
