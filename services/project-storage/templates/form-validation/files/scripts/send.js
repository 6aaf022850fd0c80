// Sends a registration. Replace this function with a request to your own server.
export async function send(registration) {
  return { reference: `R-${registration.session.slice(0, 3).toUpperCase()}-${registration.seats}` };
}
