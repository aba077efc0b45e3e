// Files that somebody chooses to send along.

// What may be sent along in one request, before it is encoded.
const FILES_BYTES_MAX = 64 << 20;

function encode(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => fail(new Error(`failed to read ${file.name}`));
    reader.readAsDataURL(file);
  });
}

// Each file in base64; `name` is the field that says what it is called.
export async function readFiles(list, name) {
  const files = [...list];
  if (files.reduce((sum, file) => sum + file.size, 0) > FILES_BYTES_MAX) throw new Error("these files are more than 64 MB together");
  return Promise.all(files.map(async (file) => ({ [name]: file.name, data: file.size ? await encode(file) : "" })));
}
