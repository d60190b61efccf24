/** Pictures as files: one by itself, several as an archive. */
import { downloadZip } from "client-zip";
import type { Values } from "./values.ts";

export interface PictureFile {
  readonly values: Values;
  /** The bytes as the server made them, with everything that is written inside. */
  readonly blob: Blob;
}

const EXTENSIONS: Readonly<Record<string, string>> = {
  "image/jpeg": "jpg",
  "image/png": "png",
  "image/webp": "webp",
  "image/avif": "avif",
};

/** Long enough for a browser to begin the download of a blob that is given back afterwards. */
const KEPT_MS = 60_000;

export async function saveFiles(files: readonly PictureFile[]): Promise<void> {
  const [first, ...others] = files;
  if (first === undefined) return;
  if (others.length === 0) {
    saveBlob(first.blob, fileName(first));
    return;
  }
  const names = uniqueNames(files.map(fileName));
  const entries = files.map(({ blob }, index) => ({ name: names[index] ?? "", input: blob }));
  saveBlob(await downloadZip(entries).blob(), `latentcast-${files.length}-pictures.zip`);
}

/** Such as `a-lighthouse-at-dusk-42.jpg`. */
function fileName({ values, blob }: PictureFile): string {
  const words = values.prompt.toLowerCase().match(/[\p{Letter}\p{Number}]+/gu) ?? ["picture"];
  return `${words.slice(0, 6).join("-")}-${values.seed}.${EXTENSIONS[blob.type] ?? "bin"}`;
}

/** The second `a-1.jpg` becomes `a-1 (2).jpg`. */
function uniqueNames(names: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return names.map((name) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : name.replace(/(?=\.\w+$)/, ` (${count})`);
  });
}

export function saveBlob(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}
