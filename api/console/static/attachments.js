// Files and images as content parts of a request, inline.
import { ApiError } from "/console/http.js";

const MB = 1024 * 1024;
const LARGEST_FILE = 20 * MB;
// In base64 they are a third larger, and a body may have 64 MiB.
const LARGEST_SUM = 45 * MB;

/** Each file as {name, size, part, preview}. Raises ApiError for files that a request has no room for. */
export async function filesAsParts(chosen, already) {
  const tooLarge = chosen.find((file) => file.size > LARGEST_FILE);
  if (tooLarge) throw new ApiError(0, { message: `${tooLarge.name} is larger than 20 MB. Choose a smaller file.` });
  const sum = [...already, ...chosen].reduce((total, file) => total + file.size, 0);
  if (sum > LARGEST_SUM) throw new ApiError(0, { message: "The files are larger than 45 MB together. Remove one." });
  return Promise.all(chosen.map(asPart));
}

async function asPart(file) {
  const url = await new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(new ApiError(0, { message: `${file.name} cannot be read: ${reader.error.message}` }));
    reader.readAsDataURL(file);
  });
  const isImage = file.type.startsWith("image/");
  const part = isImage
    ? { type: "input_image", image_url: url, detail: "auto" }
    : { type: "input_file", filename: file.name, file_data: url };
  return { name: file.name, size: file.size, part, preview: isImage ? url : null };
}
