export default { transpilePackages: ["@harbour/greeting"] };
