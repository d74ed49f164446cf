// @ts-check
/**
 * The least of an MP4 demuxer: one H.264 track, one frame a sample, no B-frames, not fragmented (ISO/IEC 14496-12).
 * Whatever is not so throws, and the caller plays the clip in a <video> instead.
 */

/**
 * @typedef {{offset: number, size: number, key: boolean}} Sample
 * @typedef {{codec: string, description: Uint8Array, width: number, height: number, samples: Sample[]}} Track
 */

/** A fixed-size head stands before the boxes inside an avc1 sample entry. */
const AVC1_HEAD = 78;

/** @param {Uint8Array} bytes a whole file @returns {Track} */
export function demux(bytes) {
  /** @type {Box} */ const file = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), start: 0, end: bytes.byteLength };
  const table = ["moov", "trak", "mdia", "minf", "stbl"].reduce(find, file);
  const avc1 = find({ ...find(table, "stsd"), skip: 8 }, "avc1");
  const avcC = find({ ...avc1, skip: AVC1_HEAD }, "avcC");
  const description = bytes.slice(avcC.start, avcC.end);
  if (description.length < 7) throw new Error("avcC: too short");
  const profile = [...description.slice(1, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return {
    codec: `avc1.${profile}`,
    description,
    width: avc1.view.getUint16(avc1.start + 24),
    height: avc1.view.getUint16(avc1.start + 26),
    samples: samplesOf(table, bytes.byteLength),
  };
}

/**
 * @typedef {{view: DataView, start: number, end: number, skip?: number}} Box the inside of a box; `skip`: bytes before its boxes
 */

/** @param {Box} table the sample table @param {number} fileEnd @returns {Sample[]} */
function samplesOf(table, fileEnd) {
  const sizes = sampleSizes(find(table, "stsz"));
  const chunks = chunkOffsets(table);
  const perChunk = rows(find(table, "stsc"), 3); // first chunk, samples in each, description
  const syncs = maybe(table, "stss");
  const keys = syncs && new Set(rows(syncs, 1).map(([number]) => number));
  /** @type {Sample[]} */ const samples = [];
  let run = 0;
  for (const [index, chunk] of chunks.entries()) {
    while (run + 1 < perChunk.length && perChunk[run + 1][0] <= index + 1) run += 1;
    let offset = chunk;
    for (let left = perChunk[run]?.[1] ?? 0; left > 0 && samples.length < sizes.length; left -= 1) {
      const size = sizes[samples.length];
      if (offset + size > fileEnd) throw new Error(`sample ${samples.length} ends behind the file`);
      samples.push({ offset, size, key: keys === null || keys.has(samples.length + 1) });
      offset += size;
    }
  }
  if (samples.length !== sizes.length || !samples.length) throw new Error(`${sizes.length} samples, ${samples.length} placed`);
  return samples;
}

/** @param {Box} box @returns {number[]} */
function sampleSizes({ view, start, end }) {
  const same = view.getUint32(start + 4);
  const count = view.getUint32(start + 8);
  if (count > 100_000 || (!same && start + 12 + 4 * count > end)) throw new Error(`stsz: ${count} samples`);
  return Array.from({ length: count }, (_, i) => same || view.getUint32(start + 12 + 4 * i));
}

/** @param {Box} table @returns {number[]} */
function chunkOffsets(table) {
  const narrow = maybe(table, "stco");
  if (narrow) return rows(narrow, 1).map(([offset]) => offset);
  return rows(find(table, "co64"), 2).map(([high, low]) => high * 2 ** 32 + low);
}

/** Rows of 32-bit numbers behind version, flags and a count. @param {Box} box @param {number} width @returns {number[][]} */
function rows({ view, start, end }, width) {
  const count = view.getUint32(start + 4);
  if (start + 8 + 4 * width * count > end) throw new Error(`a table of ${count} rows is longer than its box`);
  const cell = (/** @type {number} */ row, /** @type {number} */ column) => view.getUint32(start + 8 + 4 * (row * width + column));
  return Array.from({ length: count }, (_, row) => Array.from({ length: width }, (_, column) => cell(row, column)));
}

/** @param {Box} box @param {string} name @returns {Box} */
function find(box, name) {
  const found = maybe(box, name);
  if (!found) throw new Error(`no ${name} box`);
  return found;
}

/** @param {Box} box @param {string} name @returns {Box | null} */
function maybe({ view, start, end, skip = 0 }, name) {
  for (let at = start + skip, size = 0; at + 8 <= end; at += size) {
    size = view.getUint32(at);
    let head = 8;
    if (size === 1) {
      size = Number(view.getBigUint64(at + 8));
      head = 16;
    } else if (size === 0) size = end - at;
    if (size < head || at + size > end) throw new Error(`a box of ${size} bytes at ${at}`);
    const type = String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at + 4, 4));
    if (type === name) return { view, start: at + head, end: at + size };
  }
  return null;
}
