import type { NextConfig } from "next";

const config: NextConfig = {
  rewrites: async () => [{ source: "/backend/:path*", destination: `${process.env.BACKEND_URL}/:path*` }],
};
export default config;
