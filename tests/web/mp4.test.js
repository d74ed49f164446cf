import assert from "node:assert/strict";
import { test } from "node:test";

import { demux } from "../../web/mp4.js";

const box = (type, ...parts) => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const head = Buffer.alloc(8);
  head.writeUInt32BE(body.length + 8);
  head.write(type, 4, "latin1");
  return Buffer.concat([head, body]);
};
const words = (...numbers) => {
  const bytes = Buffer.alloc(4 * numbers.length);
  numbers.forEach((number, index) => bytes.writeUInt32BE(number, 4 * index));
  return bytes;
};
const sizes = (...list) => box("stsz", words(0, 0, list.length, ...list));
const file = (stsz) => {
  const entry = box("avc1", Buffer.concat([Buffer.alloc(24), Buffer.from([1, 0, 0, 128]), Buffer.alloc(50)]), box("avcC", [1, 0x4d, 0x40, 0x1f, 255, 225, 0, 0]));
  const table = box("stbl", box("stsd", words(0, 1), entry), stsz, box("stsc", words(0, 2, 1, 2, 1, 2, 1, 1)), box("stco", words(0, 2, 10, 40)), box("stss", words(0, 1, 1)));
  return new Uint8Array(Buffer.concat([box("ftyp", Buffer.alloc(100)), box("moov", box("trak", box("mdia", box("minf", table))))]));
};

test("samples lie in their chunks one after the other, and key frames are known", () => {
  const { codec, width, height, samples } = demux(file(sizes(5, 6, 7)));
  assert.deepEqual([codec, width, height], ["avc1.4d401f", 256, 128]);
  assert.deepEqual(samples, [{ offset: 10, size: 5, key: true }, { offset: 15, size: 6, key: false }, { offset: 40, size: 7, key: false }]);
});

test("what is no such file is said to be none", () => {
  assert.throws(() => demux(new Uint8Array(0)), /no moov/);
  assert.throws(() => demux(file(sizes(5, 6, 7)).slice(0, 200)), /a box of/);
  assert.throws(() => demux(file(sizes(5, 6, 99999))), /ends behind the file/);
  assert.throws(() => demux(file(sizes(5, 6, 7, 8, 9))), /placed/);
  assert.throws(() => demux(file(box("stsz", words(0, 0, 4_000_000)))), /4000000 samples/);
});
