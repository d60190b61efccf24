/** What the workers of this machine could take, for whoever decides which machine gets the next job. */

export interface Offer {
  /** Jobs that no worker has: there is no room for them, or their input images are being resized. */
  readonly queued: number;
  /** One for each worker that is ready. */
  readonly devices: readonly DeviceOffer[];
}

/** Times are of the device, for a job at the model's native size. */
export interface DeviceOffer {
  readonly slot: number;
  /** Whether one more job fits beside those that it holds. */
  readonly hasRoom: boolean;
  /** Jobs that it holds. */
  readonly held: number;
  /** Those with previews among them that it has not begun. */
  readonly newcomers: number;
  /** Images that may share a UNet call. */
  readonly rows: number;
  readonly stepSeconds: number;
  /** Until one more job would show its first preview. */
  readonly firstPreviewSeconds: number;
  /** Of all that it holds. */
  readonly backlogSeconds: number;
}
