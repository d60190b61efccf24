/** Texts of workers, for clients. */

/** Absolute paths without their folders: `/health` needs no key, the log has the whole path. */
export function withoutFolders(text: string): string {
  return text.replaceAll(/(?<![\w:/.])(?:\/[^\s/:'"]+)+\/(?=[^\s/:'"])/g, "…/");
}
