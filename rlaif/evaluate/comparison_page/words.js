// Which words of two texts have no counterpart in the other: all but a longest common subsequence of words.
// Where the texts are so long that its table would not fit, those words that the other text does not have at all.

const MOST_CELLS = 16_000_000; // of two bytes; 4,000 words against 4,000

// Han, Kana and Thai put no space between words: there each character is one.
const TOKEN = /\s+|[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}]\p{M}*|[\p{L}\p{N}\p{M}_]+(?:['’][\p{L}\p{M}]+)*|./gsu;

// {left, right: [[text, is only here], …] that add up to the text, isExact}
function compareWords(left, right) {
  const [a, b] = [left, right].map((text) => text.match(TOKEN) ?? []);
  const [words, others] = [a, b].map((tokens) => tokens.filter((token) => token.trim()));
  const isExact = words.length * others.length <= MOST_CELLS;
  const [kept, met] = isExact ? commonSequence(words, others) : [held(words, others), held(others, words)];
  return { left: runs(a, kept), right: runs(b, met), isExact };
}

// Two arrays of 0 and 1: the words of a longest common subsequence, in either text.
function commonSequence(words, others) {
  const numbers = new Map();
  const number = (word) => numbers.get(word) ?? (numbers.set(word, numbers.size), numbers.size - 1);
  const a = Int32Array.from(words, number), b = Int32Array.from(others, number);
  const kept = new Uint8Array(a.length), met = new Uint8Array(b.length);
  let start = 0, aEnd = a.length, bEnd = b.length;
  while (start < aEnd && start < bEnd && a[start] === b[start]) kept[start] = met[start] = 1, start++;
  while (aEnd > start && bEnd > start && a[aEnd - 1] === b[bEnd - 1]) kept[--aEnd] = met[--bEnd] = 1;
  const wide = bEnd - start + 1;
  const longest = new Uint16Array((aEnd - start + 1) * wide); // of the rests from (i, j) on
  for (let i = aEnd - 1; i >= start; i--) {
    const row = (i - start) * wide;
    for (let j = bEnd - 1; j >= start; j--) {
      const at = row + j - start;
      longest[at] = a[i] === b[j] ? longest[at + wide + 1] + 1 : Math.max(longest[at + wide], longest[at + 1]);
    }
  }
  for (let i = start, j = start; i < aEnd && j < bEnd; ) {
    const at = (i - start) * wide + j - start;
    if (a[i] === b[j]) kept[i++] = met[j++] = 1;
    else if (longest[at + wide] >= longest[at + 1]) i++;
    else j++;
  }
  return [kept, met];
}

function held(words, others) {
  const known = new Set(others);
  return Uint8Array.from(words, (word) => known.has(word));
}

// Tokens as runs that are marked or not. Space between two marked words is marked with them.
function runs(tokens, kept) {
  const found = [];
  let place = 0;
  const add = (text, isOnly) => {
    const last = found[found.length - 1];
    if (last && last[1] === isOnly) last[0] += text;
    else found.push([text, isOnly]);
  };
  let space = "";
  for (const token of tokens) {
    if (!token.trim()) {
      space += token;
      continue;
    }
    const isOnly = !kept[place++];
    if (space) add(space, isOnly && found.length > 0 && found[found.length - 1][1]);
    add(token, isOnly);
    space = "";
  }
  if (space) add(space, false);
  return found;
}
